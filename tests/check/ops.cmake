# The scripts of ops/ where they can be tried without a machine of their own; tests/system/ops_run tries the rest.
add_test(NAME check/ops_scripts COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/ops_scripts ${CMAKE_SOURCE_DIR})
set_tests_properties(check/ops_scripts PROPERTIES LABELS check TIMEOUT 60)
add_test(NAME check/ops_metrics COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/ops_metrics.py ${CMAKE_SOURCE_DIR})
set_tests_properties(check/ops_metrics PROPERTIES LABELS check TIMEOUT 60)
