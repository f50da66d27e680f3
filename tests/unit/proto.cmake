seer_test(test_message SOURCES test_message.c message_samples.c LIBS proto)
seer_test(test_endpoint SOURCES test_endpoint.c message_samples.c LIBS proto LABELS threads)
seer_test(test_feed_message LIBS proto)
seer_test(test_witness SOURCES test_witness.c witness_samples.c LIBS proto)
