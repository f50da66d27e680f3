seer_test(test_augment LIBS loader)
seer_test(test_loader LIBS loader PkgConfig::PNG LABELS threads)
seer_test(test_bench_loader LIBS loader PkgConfig::PNG PkgConfig::JANSSON)
