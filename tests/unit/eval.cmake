seer_test(test_knn LIBS eval)
