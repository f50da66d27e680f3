seer_test(test_stream LIBS core)
seer_test(test_schedule LIBS core)
seer_test(test_coordinator LIBS core)
seer_test(test_deal LIBS core)
