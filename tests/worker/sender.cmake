# The sender among real workers and scripted servers.
if(NOT TARGET bus_call)
    add_executable(bus_call ${CMAKE_CURRENT_LIST_DIR}/bus_call.c)
    target_link_libraries(bus_call PRIVATE myelin_kit)
endif()
if(TARGET myelin-sender)
    add_test(NAME worker/sender COMMAND ${Python3_EXECUTABLE} -W ignore ${CMAKE_CURRENT_LIST_DIR}/test_sender.py ${CMAKE_BINARY_DIR})
    set_tests_properties(worker/sender PROPERTIES LABELS worker TIMEOUT 600)
endif()
