seer_test(test_server LIBS operate member PkgConfig::JANSSON LABELS threads)
add_dependencies(test_server seer-server)
