seer_test(test_disk_faults SOURCES test_disk_faults.c faults.c LIBS server loader TIMEOUT 300)
set_target_properties(test_disk_faults PROPERTIES ENABLE_EXPORTS ON) # liblmdb calls what faults.c defines
add_executable(journal_writer ${FRAGMENT_DIR}/journal_writer.c)
target_link_libraries(journal_writer PRIVATE server PkgConfig::LMDB)
add_executable(snapshot_writer ${FRAGMENT_DIR}/snapshot_writer.c)
target_link_libraries(snapshot_writer PRIVATE server)
# A process for each call it may die in: under a sanitizer, whose processes start slowly, the unit tests of recovery are enough.
foreach(what journal ingest snapshot)
    set(writer journal_writer)
    if(what STREQUAL snapshot)
        set(writer snapshot_writer)
    endif()
    if(NOT EVERSEER_SANITIZE)
        seer_script(crash_points_${what} TIMEOUT 600
            COMMAND ${FRAGMENT_DIR}/crash_points.sh ${what} $<TARGET_FILE:${writer}>)
    endif()
endforeach()
