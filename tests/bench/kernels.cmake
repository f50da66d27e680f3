# A tool, not a test: figures are read by people (docs/benchmarks.md).
add_executable(bench_kernels ${FRAGMENT_DIR}/bench_kernels.c ${FRAGMENT_DIR}/bench_rest.c ${FRAGMENT_DIR}/device_bench.c)
target_link_libraries(bench_kernels PRIVATE device)
add_executable(bench_journal ${FRAGMENT_DIR}/bench_journal.c)
target_link_libraries(bench_journal PRIVATE worker)
add_executable(bench_shard_client ${FRAGMENT_DIR}/bench_shard_client.c)
target_link_libraries(bench_shard_client PRIVATE loader)
add_executable(bench_stream ${FRAGMENT_DIR}/bench_stream.c)
target_link_libraries(bench_stream PRIVATE core)
