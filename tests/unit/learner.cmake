seer_test(test_regnet LIBS regnet)
