seer_test(test_shard LIBS loader PkgConfig::LMDB)
