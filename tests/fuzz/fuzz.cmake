# seer_fuzz(TARGET LIB MORE_CORPUS...): fuzz_TARGET.c on corpus/TARGET. In a build with EVERSEER_SANITIZE=
# fuzzer-no-link,... (preset fuzz) libFuzzer drives it, in all others fuzz_main.c, with the same options.
function(seer_fuzz target lib)
    set(program fuzz_${target})
    add_executable(${program} ${FRAGMENT_DIR}/${program}.c)
    target_link_libraries(${program} PRIVATE ${lib} common)
    if(EVERSEER_SANITIZE MATCHES "fuzzer")
        target_link_options(${program} PRIVATE -fsanitize=fuzzer)
    else()
        target_sources(${program} PRIVATE ${FRAGMENT_DIR}/fuzz_main.c)
    endif()
    if(NOT EVERSEER_SANITIZE) # without one little is noticed
        return()
    endif()
    seer_script(${target} TIMEOUT 300 COMMAND ${FRAGMENT_DIR}/run.sh $<TARGET_FILE:${program}>
        ${CMAKE_BINARY_DIR}/fuzz/${target} ${FRAGMENT_DIR}/corpus/${target} ${ARGN})
endfunction()

seer_fuzz(message proto)
seer_fuzz(loader_message loader)
seer_fuzz(config common ${CMAKE_SOURCE_DIR}/configs)
seer_fuzz(record loader)
seer_fuzz(image loader)
seer_fuzz(source loader)
seer_fuzz(watch loader)
seer_fuzz(safetensors common)
seer_fuzz(weights export)
seer_fuzz(journal server)
seer_fuzz(witness operate)

add_executable(make_corpus EXCLUDE_FROM_ALL ${FRAGMENT_DIR}/make_corpus.c
    ${CMAKE_CURRENT_SOURCE_DIR}/unit/message_samples.c ${CMAKE_CURRENT_SOURCE_DIR}/unit/journal_samples.c
    ${CMAKE_CURRENT_SOURCE_DIR}/unit/witness_samples.c ${CMAKE_CURRENT_SOURCE_DIR}/unit/loader_message_samples.c)
target_link_libraries(make_corpus PRIVATE server loader proto PkgConfig::CMOCKA)
