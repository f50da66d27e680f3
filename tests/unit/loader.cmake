seer_test(test_augment LIBS loader)
seer_test(test_loader LIBS loader PkgConfig::PNG)
seer_test(test_bench_loader LIBS loader PkgConfig::PNG PkgConfig::JANSSON)
