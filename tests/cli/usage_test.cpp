// The command line itself: help, spelling, exit statuses, and examples that can be pasted.
#include <gtest/gtest.h>

#include "program.hpp"
#include "tensor_file.hpp"

namespace fovea::testing {
namespace {

const Words kCommands{"look",    "measure", "translate", "embed", "run",   "attend",
                      "explain", "bench",   "train",     "study", "prune", "info"};

TEST(Usage, FirstScreenNamesEveryCommand) {
  const Outcome bare = fovea({}), asked = fovea({"--help"}), word = fovea({"help"});
  EXPECT_EQ(bare.status, 0);
  EXPECT_EQ(bare.out, asked.out);
  EXPECT_EQ(bare.out, word.out);
  EXPECT_EQ(bare.err, "");
  for (const std::string& command : kCommands)
    EXPECT_NE(bare.out.find("\n  " + command + " "), std::string::npos) << command;
  EXPECT_LE(lines_of(bare.out).size(), 34u);
  EXPECT_NE(bare.out.find("demo"), std::string::npos) << "the model that needs not be named";
  EXPECT_TRUE(fovea({"--version"}).out.starts_with("fovea "));
}

TEST(Usage, EveryCommandHasHelpThatEndsWithExamples) {
  for (const std::string& command : kCommands) {
    const Outcome o = fovea({command, "--help"});
    EXPECT_EQ(o.status, 0) << command;
    EXPECT_EQ(o.err, "");
    EXPECT_EQ(o.out, fovea({"help", command}).out);
    EXPECT_EQ(o.out, fovea({command, "-h"}).out);
    const std::size_t examples = o.out.find("\nExamples\n");
    ASSERT_NE(examples, std::string::npos) << command;
    EXPECT_NE(o.out.find("fovea " + command, examples), std::string::npos);
    for (const std::string& line : lines_of(o.out.substr(examples + 10)))
      EXPECT_FALSE(line.starts_with("Usage")) << "the examples come last";
  }
}

TEST(Usage, UnknownWordsGetTheNearestOne) {
  expect_error(fovea({"atend"}), 2,
               {"unknown command 'atend'", "did you mean attend?",
                "look, measure, translate, embed, run, attend, explain, bench, train, study, prune, info"});
  expect_error(fovea({"help", "lok"}), 2, {"unknown command 'lok'", "did you mean look?"});
  expect_error(fovea({"dream"}), 2, {"unknown command 'dream'", "look"});
  expect_error(fovea({"--jsn"}), 2, {"unknown flag '--jsn'"});
  expect_error(fovea({"explain", "--casual"}), 2,
               {"explain: unknown flag --casual", "did you mean --causal?", "fovea explain --help"});
  expect_error(fovea({"explain", "--kv-head", "2"}), 2, {"did you mean --kv-heads?"});
  expect_error(fovea({"attend", "--weigths"}), 2,
               {"did you mean --weights?"});  // said before the arguments that are missing
  expect_error(fovea({"info", "--xyzzyxyzzy"}), 2, {"unknown flag --xyzzyxyzzy (fovea"});
  expect_error(fovea({"info", "extra"}), 2, {"unexpected argument 'extra'"});
  expect_error(fovea({"look", "two", "words"}), 2, {"unexpected argument 'words'", "quote"});
}

TEST(Usage, WhatDoesNotExistYetIsRefusedNotIgnored) {
  expect_error(fovea({"bench", "gemv"}), 2, {"gemv", "attention, gemm, model and look"});
  expect_error(fovea({"run", "translate", "x"}), 2, {"translate", "fill-mask and classify"});
  expect_error(fovea({"run", "fill-masks", "x"}), 2, {"did you mean fill-mask?"});
}

TEST(Usage, TheDemoModelIsTheDefault) {
  const std::string sentence = "The cat sat on the mat.";
  for (const Words& line :
       {Words{"look", sentence}, Words{"measure", sentence, "--cut", "cat:mat"}, Words{"translate", sentence}}) {
    Words named = line;
    named.insert(named.end(), {"--model", "demo"});
    const Outcome o = fovea(line);
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(fovea(named).status, 0);
    EXPECT_FALSE(o.out.empty());
  }
}

TEST(Usage, TextsMayBeNamedLikeCommandsAndStartWithDashes) {
  // The folder is refused, so what came before it was understood.
  expect_error(fovea({"look", "info", "--model", "no/such/folder"}), 1, {"no/such/folder"});
  expect_error(fovea({"embed", "attend", "--model", "no/such/folder"}), 1, {"no/such/folder"});
  expect_error(fovea({"look", "--model", "no/such/folder", "--", "--json"}), 1, {"no/such/folder"});
}

TEST(Usage, ErrorsStayOneLineWhateverTheNames) {
  expect_error(fovea({"no\nsuch\033[31mcommand"}), 2, {"no␊such␛[31mcommand"});
  expect_error(fovea({"attend", "a\nb.safetensors", "-o", "c"}), 1, {"b.safetensors"});
}

TEST(Usage, ListsOfLayersAreChecked) {
  expect_error(fovea({"look", "x", "--layer", "two"}), 2, {"--layer", "two"});
  expect_error(fovea({"look", "x", "--layer", "3-1"}), 2, {"--layer"});
  expect_error(fovea({"look", "x", "--head", "1,"}), 2, {"--head"});
  expect_error(fovea({"look", "x", "--kind", "sideways"}), 2, {"--kind", "sideways"});
  expect_error(fovea({"look", "x", "--top", "0"}), 2, {"--top"});
  expect_error(fovea({"look", "x", "--rows", "0:5"}), 2, {"--rows", "--export"});
  expect_error(fovea({"measure", "x", "--cut", "a:b", "--layer", "two"}), 2, {"--layer", "two"});
}

TEST(Usage, ValuesThatAreMissingEmptyOrTwiceAreRefused) {
  expect_error(fovea({"look", "x", "--html", ""}), 2, {"look: --html", "empty"});
  expect_error(fovea({"look", "x", "--layer="}), 2, {"--layer"});
  expect_error(fovea({"explain", "--window", ""}), 2, {"--window", "empty"});
  expect_error(fovea({"explain", "--scale"}), 2, {"explain: --scale wants a value"});
  expect_error(fovea({"explain", "--scale", "1", "--scale", "2"}), 2, {"--scale is given more than once"});
  expect_error(fovea({"explain", "--scale", "big"}), 2, {"--scale big: expected a number"});
  expect_error(fovea({"explain", "--q", "1.5"}), 2, {"--q 1.5: expected a whole number"});
  expect_error(fovea({"explain", "--window", "3:x"}), 2, {"--window 3:x", "found \"x\""});
  expect_error(fovea({"look", "x", "--head", "0,-1"}), 2, {"--head 0,-1", "0,2-4"});
}

TEST(Usage, ATextOfWhiteSpaceIsEmpty) {
  for (const char* command : {"look", "translate", "embed"}) expect_error(fovea({command, " \t "}), 1, {"empty"});
  expect_error(fovea({"measure", "\n", "--cut", "0:1"}), 1, {"empty"});
}

TEST(Usage, AFullDiskUnderStandardOutputIsNoSuccess) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  for (const char* line : {" info --json", " look 'The cat sat on the mat.' --json"})
    expect_error(run_command({"sh", "-c", program() + line + " > /dev/full"}), 1, {"standard output"});
}

/// The shell commands below "Examples": everything up to the end, as a person would paste it.
std::string examples_of(const std::string& command) {
  const std::string help = fovea({command, "--help"}).out;
  return help.substr(help.find("\nExamples\n") + 10);
}

TEST(Usage, ExamplesWithoutAModelRunAsPasted) {
  const Scratch folder;
  std::filesystem::create_symlink(program(), folder.path() / "fovea");
  const std::string path = folder.path().string() + ":" + std::getenv("PATH");
  if (run_command({"python3", "-c", ""}).status != 0)
    GTEST_SKIP() << "the example of attend makes its file with python3";
  for (const char* command : {"attend", "explain", "info", "bench", "translate"}) {
    std::string script = "set -e\n";
    for (const std::string& line : lines_of(examples_of(command)))
      if (line.find("--model") == std::string::npos) script += line + "\n";
    const Outcome o = run_command({"sh", "-c", script}, {"", {{"PATH", path}}, folder.path()});
    EXPECT_EQ(o.status, 0) << script << o.err;
  }
  EXPECT_TRUE(load_tensors(folder / "out.safetensors").contains("out"));
}

TEST(Usage, TheFirstScreensExamplesRunAsPasted) {
  const Scratch folder;
  std::filesystem::create_symlink(program(), folder.path() / "fovea");
  const std::string path = folder.path().string() + ":" + std::getenv("PATH"), help = fovea({}).out;
  const std::string script = help.substr(help.find("\nExamples\n") + 10);
  EXPECT_GE(lines_of(script).size(), 3u);
  const Outcome o = run_command({"sh", "-c", "set -e\n" + script}, {"", {{"PATH", path}}, folder.path()});
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.out.find("q [1, 4096, 32, 128]"), std::string::npos) << "32 heads, not 4096";
}

TEST(Usage, ExamplesWithAModelParse) {
  const Scratch folder;
  std::filesystem::create_symlink(program(), folder.path() / "fovea");
  const std::string path = folder.path().string() + ":" + std::getenv("PATH");
  int tried = 0;
  for (const std::string& command : kCommands)
    for (const std::string& line : lines_of(examples_of(command))) {
      if (line.find("--model") == std::string::npos) continue;
      const Outcome o = run_command({"sh", "-c", line}, {"", {{"PATH", path}}, folder.path()});
      EXPECT_EQ(o.status, 1) << line << o.err;  // understood; the model is not in this folder
      ++tried;
    }
  EXPECT_GE(tried, 10);
}

}  // namespace
}  // namespace fovea::testing
