seer_test(test_augment LIBS loader)
seer_test(test_loader LIBS loader PkgConfig::PNG)
