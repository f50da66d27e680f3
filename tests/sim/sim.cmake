seer_test(test_sim SOURCES test_sim.c world.c crew.c faults.c oracle.c LIBS core member proto common TIMEOUT 400 ARGS --seeds 2000)
seer_script(test_sim_straggler COMMAND test_sim --straggler)
# The simulation must find bugs that are planted in it.
foreach(bug send-first apply-first)
    seer_script(test_sim_finds_${bug} COMMAND test_sim --bug ${bug} --seeds 200)
endforeach()
seer_script(commit_gate COMMAND ${CMAKE_CURRENT_LIST_DIR}/commit_gate.sh TIMEOUT 300)
