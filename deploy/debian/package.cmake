# package.cmake - `cpack` in a build folder makes everseer_VERSION_ARCH.deb, or everseer-cuda with EVERSEER_CUDA.
find_program(GZIP gzip REQUIRED)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/changelog.cmake "execute_process(
    COMMAND ${GZIP} -9nc ${CMAKE_CURRENT_SOURCE_DIR}/debian/changelog
    OUTPUT_FILE ${CMAKE_CURRENT_BINARY_DIR}/changelog.gz COMMAND_ERROR_IS_FATAL ANY)")
install(SCRIPT ${CMAKE_CURRENT_BINARY_DIR}/changelog.cmake)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/changelog.gz DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON) # the prefix is the package's, not the staging folder's
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PACKAGE_NAME ${package})
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_VENDOR "The everseer authors")
set(CPACK_PACKAGE_CONTACT "The everseer authors <everseer@users.noreply.github.com>")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_HOMEPAGE https://github.com/everseer/everseer)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON) # libraries; the rest is what programs start, and what makes the user
set(CPACK_DEBIAN_PACKAGE_DEPENDS "openmpi-bin, systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "bash-completion, jq")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "dataset-fashion-mnist, prometheus, python3-torch")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${CMAKE_CURRENT_SOURCE_DIR}/debian/postinst;${CMAKE_CURRENT_SOURCE_DIR}/debian/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "online self-supervised pretraining of vision models (SwAV)")
set(CPACK_PACKAGE_DESCRIPTION
    "everseer pretrains RegNetY vision models without labels, as SEER does
(SwAV, Goyal et al. 2021), on a stream of images that never stops changing.
A parameter server and any number of workers train for as long as they are
let; workers come and go without a restart, every image counts exactly once
per pass, and all replicas hold the same bits. Snapshots load into PyTorch.
.
The package has the coordinator (seer-server), the worker daemon
(seer-worker), the shard server (seer-loader) and the command for people
(seer), with systemd units, man pages and completions.")
if(EVERSEER_CUDA)
    string(APPEND CPACK_PACKAGE_DESCRIPTION_SUMMARY ", with CUDA")
    string(APPEND CPACK_PACKAGE_DESCRIPTION
        "\n.\nThis one trains on NVIDIA GPUs. It needs their driver, and CUDA, cuDNN and\nNCCL, which Debian's archive does not have: where they did not come from\npackages when this was built, they are no dependencies.")
    set(CPACK_DEBIAN_PACKAGE_PROVIDES ${PROJECT_NAME})
    set(CPACK_DEBIAN_PACKAGE_CONFLICTS ${PROJECT_NAME})
    set(CPACK_DEBIAN_PACKAGE_REPLACES ${PROJECT_NAME})
else()
    set(CPACK_DEBIAN_PACKAGE_CONFLICTS ${PROJECT_NAME}-cuda)
    set(CPACK_DEBIAN_PACKAGE_REPLACES ${PROJECT_NAME}-cuda)
endif()
include(CPack)
