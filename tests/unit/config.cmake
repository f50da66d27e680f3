seer_test(test_config LIBS common)
seer_test(test_architecture LIBS common)
seer_test(test_safetensors LIBS common)
seer_test(test_tensorboard LIBS common)
