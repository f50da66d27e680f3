seer_script(format COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/lint/format.sh)
seer_script(house COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/lint/house.sh)
seer_script(shell COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/lint/shell.sh)
seer_script(sizes COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/lint/sizes.sh)
