seer_test(test_collective LIBS local_group TIMEOUT 300)
add_dependencies(test_collective seer-helper)
