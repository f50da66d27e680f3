seer_test(test_config LIBS common)
