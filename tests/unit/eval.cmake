seer_test(test_finetune_rule LIBS eval)
seer_test(test_knn LIBS eval)
seer_test(test_probe LIBS eval)
seer_test(test_subset LIBS eval)
