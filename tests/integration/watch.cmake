find_program(BATS bats)
seer_script(watch TIMEOUT 900 COMMAND ${BATS} --print-output-on-failure ${FRAGMENT_DIR}/watch.bats)
seer_script(page TIMEOUT 300 COMMAND /usr/bin/python3 ${FRAGMENT_DIR}/page.py)
# The example of docs/status-feed.md, built as its reader would.
add_executable(follow_feed ${CMAKE_SOURCE_DIR}/docs/examples/follow_feed.c)
target_include_directories(follow_feed PRIVATE ${CMAKE_BINARY_DIR}/proto)
target_link_libraries(follow_feed PRIVATE proto_generated PkgConfig::ZMQ PkgConfig::JANSSON)
