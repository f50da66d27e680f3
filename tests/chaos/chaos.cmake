# The worker with a trap at the border of each phase; see trap.c.
add_executable(seer-worker-trapped ${FRAGMENT_DIR}/trap.c
    ${CMAKE_SOURCE_DIR}/worker/main.c ${CMAKE_SOURCE_DIR}/worker/respawn.c)
target_link_libraries(seer-worker-trapped PRIVATE worker)
foreach(function collective_form loader_take model_forward swav_codes model_backward buckets_finish
        handover_tell feature_queue_push)
    target_link_options(seer-worker-trapped PRIVATE -Wl,--wrap=${function})
endforeach()

# The scripts end themselves earlier; the limit is for SEER_TEST_LONG=1. Timing is part of these: one begins, beside nothing but
# what yields, the other is alone.
foreach(script chaos oversubscribed)
    seer_script(${script} COMMAND python3 ${FRAGMENT_DIR}/${script}.py TIMEOUT 3600)
endforeach()
set_tests_properties(chaos.chaos PROPERTIES RESOURCE_GROUPS clock:3 COST 1000)
set_tests_properties(chaos.oversubscribed PROPERTIES RUN_SERIAL ON)
# On an emulated GPU; short here, long with SEER_TEST_LONG=1.
foreach(script chaos_nccl gpu_bits)
    seer_script(${script} COMMAND python3 ${FRAGMENT_DIR}/${script}.py TIMEOUT 7200)
endforeach()
# What these wait for has time: they run beside others.
foreach(script culprit live_store live_watch live_refresh remote_shards other_hosts)
    seer_script(${script} COMMAND python3 ${FRAGMENT_DIR}/${script}.py TIMEOUT 3600)
endforeach()
