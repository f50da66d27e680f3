seer_test(test_shard LIBS loader PkgConfig::LMDB)
seer_test(test_store LIBS loader)
target_link_options(test_store PRIVATE -Wl,--wrap=image_decode)
seer_test(test_image LIBS loader TIMEOUT 300 ARGS ${FRAGMENT_DIR}/make_test_images.py /usr/bin/python3)
