# The house keeps its own rules: include directions; every route row with a reference and a test.
add_test(NAME check/includes COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/includes.py ${CMAKE_SOURCE_DIR})
add_test(NAME check/routes COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/routes.py ${CMAKE_SOURCE_DIR})
set_tests_properties(check/includes check/routes PROPERTIES LABELS unit TIMEOUT 60)
