# cmake -DOUT=joined.cpp -DFILES="a.cpp b.cpp" -P JoinTests.cmake: several test files as one source, each in a namespace of its own name
# around its anonymous one, so that what they call alike stays apart.
separate_arguments(FILES)
set(joined "")
foreach(file ${FILES})
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  string(REPLACE "\nnamespace {\n" "\nnamespace ${name} { namespace {\n" text "${text}")
  string(REPLACE "\n}  // namespace\n" "\n} }  // namespace\n" text "${text}")
  string(APPEND joined "#line 1 \"${file}\"\n${text}\n")
endforeach()
file(WRITE ${OUT} "${joined}")
