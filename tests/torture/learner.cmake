seer_test(test_learner_memory LIBS learner)
