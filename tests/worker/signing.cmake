# The signing worker as a process, and its seal in a program that tries what it forbids.
if(NOT TARGET bus_call)
    add_executable(bus_call ${CMAKE_CURRENT_LIST_DIR}/bus_call.c)
    target_link_libraries(bus_call PRIVATE myelin_kit)
endif()
if(TARGET myelin-signing)
    add_executable(seal_check ${CMAKE_CURRENT_LIST_DIR}/seal_check.c ${CMAKE_SOURCE_DIR}/workers/signing/seal.c
                              ${CMAKE_SOURCE_DIR}/workers/signing/keys.c)
    target_link_libraries(seal_check PRIVATE myelin_kit)
    add_test(NAME worker/signing
             COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/test_signing.py $<TARGET_FILE:myelin-signing> $<TARGET_FILE:bus_call>
                     $<TARGET_FILE:seal_check>)
    set_tests_properties(worker/signing PROPERTIES LABELS worker TIMEOUT 300)
endif()
