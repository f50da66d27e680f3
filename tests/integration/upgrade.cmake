# Programs of the next version, as far as others can tell: proto/protocol.c alone knows.
add_library(next_protocol OBJECT ${CMAKE_SOURCE_DIR}/proto/protocol.c)
target_link_libraries(next_protocol PRIVATE proto)
target_compile_definitions(next_protocol PRIVATE
    PROTOCOL_NEWEST=PROTOCOL_VERSION+1 PROTOCOL_OLDEST=PROTOCOL_VERSION PROTOCOL_PROGRAM="9.9.9")
add_executable(seer-worker-next ${CMAKE_SOURCE_DIR}/worker/main.c ${CMAKE_SOURCE_DIR}/worker/respawn.c
    $<TARGET_OBJECTS:next_protocol>)
target_link_libraries(seer-worker-next PRIVATE worker)
add_executable(seer-server-next ${CMAKE_SOURCE_DIR}/server/main.c $<TARGET_OBJECTS:next_protocol>)
target_link_libraries(seer-server-next PRIVATE server)
seer_script(upgrade TIMEOUT 300 COMMAND ${BATS} --print-output-on-failure ${FRAGMENT_DIR}/upgrade.bats)
