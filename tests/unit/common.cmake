seer_test(test_common LIBS common LABELS threads)
