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
    if(NOT TARGET bus_call)
        add_executable(bus_call ${CMAKE_CURRENT_LIST_DIR}/bus_call.c)
        target_link_libraries(bus_call PRIVATE myelin_kit)
    endif()
    add_test(NAME worker/discovery_process
             COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/test_discovery_worker.py $<TARGET_FILE:myelin-discovery>
                     $<TARGET_FILE:bus_call>)
    set_tests_properties(worker/discovery worker/discovery_process PROPERTIES LABELS worker TIMEOUT 300 COST 17)

    # The unit and fuzz programs are made before this list is read; they get discovery's pure parts from here.
    foreach(target test_discovery_parts fuzz_well_known fuzz_dns)
        if(TARGET ${target})
            target_link_libraries(${target} PRIVATE discovery_steps)
        endif()
    endforeach()
endif()
