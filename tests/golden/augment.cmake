add_executable(augment_tool ${FRAGMENT_DIR}/augment_tool.c)
target_link_libraries(augment_tool PRIVATE loader)
seer_script(augment COMMAND /usr/bin/python3 ${FRAGMENT_DIR}/augment.py $<TARGET_FILE:augment_tool>
    TIMEOUT 600)
