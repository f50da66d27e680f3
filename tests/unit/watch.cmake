seer_test(test_picture LIBS watch)
seer_test(test_follower LIBS watch)
seer_test(test_advice LIBS watch)
seer_test(test_token LIBS watch)
