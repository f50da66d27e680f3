find_program(BATS bats)
foreach(suite training snapshots supervision service launchers backup operator bad_input interchange shards remote living keys loader_keys)
    seer_script(${suite} COMMAND ${BATS} --print-output-on-failure ${CMAKE_CURRENT_SOURCE_DIR}/integration/${suite}.bats TIMEOUT 900)
endforeach()
