# Programs of an older version, as far as others can tell: proto/protocol.c alone knows.
add_library(older_protocol OBJECT ${CMAKE_SOURCE_DIR}/proto/protocol.c)
target_link_libraries(older_protocol PRIVATE proto)
target_compile_definitions(older_protocol PRIVATE
    PROTOCOL_NEWEST=PROTOCOL_VERSION_OLDEST PROTOCOL_OLDEST=PROTOCOL_VERSION_OLDEST PROTOCOL_PROGRAM="0.0.9")
add_executable(seer-worker-older ${CMAKE_SOURCE_DIR}/worker/main.c ${CMAKE_SOURCE_DIR}/worker/respawn.c
    $<TARGET_OBJECTS:older_protocol>)
target_link_libraries(seer-worker-older PRIVATE worker)
add_executable(seer-server-older ${CMAKE_SOURCE_DIR}/server/main.c $<TARGET_OBJECTS:older_protocol>)
target_link_libraries(seer-server-older PRIVATE server)
seer_script(upgrade TIMEOUT 300 COMMAND ${BATS} --print-output-on-failure ${FRAGMENT_DIR}/upgrade.bats)
