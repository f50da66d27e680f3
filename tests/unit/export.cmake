seer_test(test_keymap LIBS export)
seer_test(test_unpickle LIBS export)
