seer_test(test_knn LIBS eval)
seer_test(test_keymap LIBS export state)
