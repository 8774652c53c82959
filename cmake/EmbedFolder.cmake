# fovea_embed_folder(OUT variable FOLDER path NAME embedded-name HEADER header FUNCTION qualified-name): a source that defines FUNCTION, which
# makes the files of FOLDER an embedded folder (io/embedded.hpp) and returns its path. The assembler copies the bytes: megabytes cost nothing.
function(fovea_embed_folder)
  cmake_parse_arguments(ARG "" "OUT;FOLDER;NAME;HEADER;FUNCTION" "" ${ARGN})
  file(GLOB files CONFIGURE_DEPENDS ${ARG_FOLDER}/*)
  set(data "")
  set(list "")
  set(number 0)
  foreach(file ${files})
    get_filename_component(name ${file} NAME)
    set(symbol fovea_embedded_${ARG_NAME}_${number})
    string(APPEND data "asm(\".section .rodata\\n.balign 64\\n.global ${symbol}\\n.global ${symbol}_end\\n${symbol}:\\n.incbin \\\"${file}\\\"\\n${symbol}_end:\\n.previous\");\n"
      "extern \"C\" const char ${symbol}[], ${symbol}_end[];\n")
    string(APPEND list "    {\"${name}\", {${symbol}, static_cast<std::size_t>(${symbol}_end - ${symbol})}},\n")
    math(EXPR number "${number} + 1")
  endforeach()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME}_folder.cpp)
  file(GENERATE OUTPUT ${source} CONTENT "#include \"${ARG_HEADER}\"\n#include \"io/embedded.hpp\"\n${data}
std::filesystem::path ${ARG_FUNCTION}() {\n  return fovea::io::embedded_folder(\"${ARG_NAME}\", {\n${list}  });\n}\n")
  set_source_files_properties(${source} PROPERTIES GENERATED ON SKIP_UNITY_BUILD_INCLUSION ON OBJECT_DEPENDS "${files}")
  set(${ARG_OUT} ${source} PARENT_SCOPE)
endfunction()
