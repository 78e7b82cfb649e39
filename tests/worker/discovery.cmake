# Discovery: its steps through a driver with a clock of its own, and the real worker with everything around it scripted.
if(TARGET myelin-discovery)
    file(GLOB discovery_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/workers/discovery/*.c)
    list(FILTER discovery_sources EXCLUDE REGEX "/main\\.c$")
    add_library(discovery_steps STATIC ${discovery_sources})
    target_link_libraries(discovery_steps PUBLIC myelin_kit PkgConfig::cares)

    add_executable(discovery_driver ${CMAKE_CURRENT_LIST_DIR}/discovery_driver.c)
    target_link_libraries(discovery_driver PRIVATE discovery_steps)
    add_test(NAME worker/discovery
             COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/test_discovery.py $<TARGET_FILE:discovery_driver>)
    set_tests_properties(worker/discovery PROPERTIES LABELS worker TIMEOUT 300)
endif()
