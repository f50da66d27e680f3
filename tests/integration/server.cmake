seer_test(test_server LIBS operate member PkgConfig::JANSSON)
add_dependencies(test_server seer-server)
