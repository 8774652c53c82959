# cmake -DIN=file -DOUT=file.cpp -DNAME=fovea::cli::kName -P Embed.cmake: a file as a C++ std::string_view.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "^(.*)::([^:]*)$" "\\1;\\2" parts "${NAME}")
list(GET parts 0 space)
list(GET parts 1 name)
file(WRITE ${OUT} "#include <string_view>\nnamespace ${space} {\nstatic constexpr unsigned char kBytes[] = {${bytes}};
extern const std::string_view ${name};
const std::string_view ${name}(reinterpret_cast<const char*>(kBytes), sizeof kBytes);\n}\n")
