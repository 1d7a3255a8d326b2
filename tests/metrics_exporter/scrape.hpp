// A strict reader of Prometheus' text format: what a scraper refuses is an error here.
#pragma once

#include <cstdlib>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace fovea::test {

struct Scrape {
  std::map<std::string, std::string> types;  // by family
  std::map<std::string, double> values;      // by name with labels, as written
  std::vector<std::string> errors;

  explicit Scrape(const std::string& text) {
    static const std::regex kHelp(R"(# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+))");
    static const std::regex kType(
        R"(# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|untyped))");
    static const std::regex kSeries(
        R"re(([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\["\\n])*")(,[a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\["\\n])*")*\})? (\S+))re");
    if (!text.empty() && text.back() != '\n') errors.push_back("the last line does not end");
    std::istringstream lines(text);
    std::string line, family;
    std::set<std::string> helped;
    std::smatch part;
    while (std::getline(lines, line)) {
      if (std::regex_match(line, part, kHelp)) {
        if (!helped.insert(part[1]).second) errors.push_back("a second HELP: " + line);
      } else if (std::regex_match(line, part, kType)) {
        family = part[1];
        if (!types.emplace(family, part[2]).second) errors.push_back("a second TYPE: " + line);
      } else if (std::regex_match(line, part, kSeries)) {
        const std::string name = part[1];
        const bool of_histogram = types[family] == "histogram";
        const bool fits = of_histogram ? name == family + "_bucket" || name == family + "_sum" ||
                                             name == family + "_count"
                                       : name == family;
        if (!fits) errors.push_back("outside its family: " + line);
        const std::string key = line.substr(0, line.rfind(' '));
        char* end = nullptr;
        const std::string number = part[7];
        const double value = std::strtod(number.c_str(), &end);
        if (*end != '\0') errors.push_back("no number: " + line);
        if (!values.emplace(key, value).second) errors.push_back("twice: " + line);
      } else {
        errors.push_back("unreadable: " + line);
      }
    }
    for (const auto& [name, type] : types) {
      const bool is_total = name.size() > 6 && name.substr(name.size() - 6) == "_total";
      if ((type == "counter") != is_total) errors.push_back(name + " is a " + type);
    }
  }

  double value(const std::string& key) const {
    const auto found = values.find(key);
    return found == values.end() ? -1 : found->second;
  }
};

}  // namespace fovea::test
