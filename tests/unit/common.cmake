seer_test(test_common LIBS common LABELS threads)
seer_test(test_command LIBS common)
seer_test(test_notify LIBS common)
seer_test(test_slice LIBS common)
