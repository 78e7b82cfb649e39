# clang-tidy with this build's commands. It uses all cores, so nothing else runs beside it.
add_test(NAME check/tidy COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tidy ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
set_tests_properties(check/tidy PROPERTIES LABELS check TIMEOUT 2400 RUN_SERIAL ON)
