seer_test(test_shard LIBS loader PkgConfig::LMDB)
seer_test(test_store LIBS loader)
seer_test(test_image LIBS loader TIMEOUT 300 ARGS ${FRAGMENT_DIR}/make_test_images.py /usr/bin/python3)
