// The stack machine of Python's pickle (Lib/pickletools.py names its codes), with names and calls kept as such.
#include "base/pickle.hpp"

#include <bit>
#include <optional>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include <dtk/error.hpp>

namespace dtk {

namespace {

using Number = PickleValue::Number;
using Type = PickleValue::Type;

constexpr std::size_t most_values = 2'000'000, most_name = 1000;

class Machine {
 public:
    explicit Machine(std::string_view bytes) : bytes_(bytes) {}

    Pickle run() {
        while (!ended_) step();
        return std::move(made_);
    }

 private:
    [[noreturn]] void wrong(const std::string& what) const {
        throw Error(fmt::format("its pickle is damaged at byte {}: {}", begin_, what), "fetch it again");
    }

    std::string_view take(std::uint64_t n) {
        if (n > bytes_.size() - at_) wrong("it is cut short");
        const auto part = bytes_.substr(at_, n);
        at_ += n;
        return part;
    }
    std::uint64_t number(int bytes) {  // little-endian, without a sign
        std::uint64_t value = 0;
        const auto part = take(bytes);
        for (int i = 0; i < bytes; ++i) value |= std::uint64_t{static_cast<unsigned char>(part[i])} << (8 * i);
        return value;
    }
    std::string line() {
        const auto end = bytes_.find('\n', at_);
        if (end == std::string_view::npos) wrong("a line does not end");
        const std::string text(bytes_.substr(at_, end - at_));
        at_ = end + 1;
        return text;
    }

    Number make(PickleValue value) {
        if (made_.values.size() == most_values) wrong(fmt::format("it holds more than {} values", most_values));
        made_.values.push_back(std::move(value));
        return static_cast<Number>(made_.values.size() - 1);
    }
    void push(Number number) {
        if (stack_.size() > bytes_.size()) wrong("its stack is longer than itself");
        stack_.push_back(number);
    }
    void push(PickleValue value) { push(make(std::move(value))); }
    void push_integer(std::int64_t value) { push({.type = Type::integer, .integer = value}); }
    void push_text(Type type, std::uint64_t length) { push({.type = type, .text = std::string(take(length))}); }

    Number pop() {
        if (stack_.empty() || (!marks_.empty() && marks_.back() == stack_.size())) wrong("its stack is empty");
        const auto number = stack_.back();
        stack_.pop_back();
        return number;
    }
    std::vector<Number> pop_to_mark() {
        if (marks_.empty()) wrong("there is no mark");
        std::vector<Number> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
        stack_.resize(marks_.back());
        marks_.pop_back();
        return items;
    }
    PickleValue& last() {  // what stands on top and stays there
        const auto number = pop();
        stack_.push_back(number);
        return made_.values[number];
    }

    void tuple(std::size_t n) {
        PickleValue value{.type = Type::tuple, .items = std::vector<Number>(n)};
        for (auto i = n; i-- > 0;) value.items[i] = pop();
        push(std::move(value));
    }
    void global(const std::string& module, const std::string& name) {
        push({.type = Type::global, .text = module + "." + name});
    }
    void call(Number function, Number argument) {
        push({.type = Type::call, .function = function, .argument = argument});
    }
    void add(const std::vector<Number>& items, std::initializer_list<Type> to) {
        auto& target = last();
        bool fits = target.type == Type::call;  // what it would have become takes them
        for (const auto type : to) fits |= target.type == type;
        if (!fits) wrong("something is added to what takes nothing");
        target.items.insert(target.items.end(), items.begin(), items.end());
    }
    void add_pairs(const std::vector<Number>& items) {
        if (items.size() % 2 != 0) wrong("a key has no value");
        add(items, {Type::dictionary});
    }

    void keep(std::uint64_t place) {
        const auto number = pop();
        push(number);
        if (kept_.size() > bytes_.size()) wrong("it keeps more than it holds");
        kept_[place] = number;
    }
    void fetch(std::uint64_t place) {
        const auto found = kept_.find(place);
        if (found == kept_.end()) wrong(fmt::format("nothing is kept in place {}", place));
        push(found->second);
    }

    void long_integer(std::uint64_t length) {
        const auto part = take(length);
        if (length > 8) return push({.type = Type::bytes, .text = std::string(part)});  // beyond what anybody counts
        std::uint64_t value = length > 0 && (part.back() & 0x80) ? ~std::uint64_t{0} : 0;
        for (std::size_t i = 0; i < part.size(); ++i) {
            value &= ~(std::uint64_t{0xFF} << (8 * i));
            value |= std::uint64_t{static_cast<unsigned char>(part[i])} << (8 * i);
        }
        push_integer(static_cast<std::int64_t>(value));
    }

    void step() {
        begin_ = at_;
        const auto code = take(1)[0];
        switch (code) {
            case '\x80':  // protocol
                if (const auto protocol = number(1); protocol < 2 || protocol > 5)
                    wrong(fmt::format("protocol {} is none of 2 … 5", protocol));
                return;
            case '\x95':  // frame
                number(8);
                return;
            case '.':
                made_.top = pop();
                ended_ = true;
                return;
            case '(':
                if (marks_.size() > bytes_.size()) wrong("it has more marks than bytes");
                marks_.push_back(stack_.size());
                return;
            case '0':
                pop();
                return;
            case '1':
                pop_to_mark();
                return;
            case '2': {
                const auto number = pop();
                push(number);
                return push(number);
            }
            case 'N':
                return push(PickleValue{});
            case '\x88':
            case '\x89':
                return push({.type = Type::boolean, .integer = code == '\x88'});
            case 'K':
                return push_integer(static_cast<std::int64_t>(number(1)));
            case 'M':
                return push_integer(static_cast<std::int64_t>(number(2)));
            case 'J':
                return push_integer(static_cast<std::int32_t>(number(4)));
            case '\x8a':
                return long_integer(number(1));
            case '\x8b':
                return long_integer(number(4));
            case 'G': {
                std::uint64_t bits = 0;
                for (const char byte : take(8)) bits = bits << 8 | static_cast<unsigned char>(byte);
                return push({.type = Type::real, .real = std::bit_cast<double>(bits)});
            }
            case 'X':
                return push_text(Type::text, number(4));
            case '\x8c':
                return push_text(Type::text, number(1));
            case '\x8d':
                return push_text(Type::text, number(8));
            case 'U':  // Python 2's texts
                return push_text(Type::text, number(1));
            case 'T':
                return push_text(Type::text, number(4));
            case 'C':
                return push_text(Type::bytes, number(1));
            case 'B':
                return push_text(Type::bytes, number(4));
            case '\x8e':
            case '\x96':
                return push_text(Type::bytes, number(8));
            case ')':
                return tuple(0);
            case '\x85':
                return tuple(1);
            case '\x86':
                return tuple(2);
            case '\x87':
                return tuple(3);
            case 't':
                return push({.type = Type::tuple, .items = pop_to_mark()});
            case ']':
                return push({.type = Type::list});
            case 'l':
                return push({.type = Type::list, .items = pop_to_mark()});
            case '}':
                return push({.type = Type::dictionary});
            case 'd': {
                const auto items = pop_to_mark();
                push({.type = Type::dictionary});
                return add_pairs(items);
            }
            case '\x8f':
                return push({.type = Type::set});
            case '\x91':
                return push({.type = Type::set, .items = pop_to_mark()});
            case 'a': {
                const auto item = pop();
                return add({item}, {Type::list});
            }
            case 'e':
                return add(pop_to_mark(), {Type::list});
            case '\x90':
                return add(pop_to_mark(), {Type::set});
            case 's': {
                const auto value = pop(), key = pop();
                return add_pairs({key, value});
            }
            case 'u':
                return add_pairs(pop_to_mark());
            case 'q':
                return keep(number(1));
            case 'r':
                return keep(number(4));
            case '\x94':
                return keep(kept_.size());
            case 'h':
                return fetch(number(1));
            case 'j':
                return fetch(number(4));
            case 'c': {
                const auto module = line(), name = line();
                return global(module, name);
            }
            case '\x93': {
                const auto name = pop(), module = pop();
                for (const auto part : {name, module})
                    if (made_[part].type != Type::text || made_[part].text.size() > most_name) wrong("a name is none");
                return global(std::string(made_[module].text), std::string(made_[name].text));
            }
            case 'R':
            case '\x81': {
                const auto argument = pop(), function = pop();
                return call(function, argument);
            }
            case '\x92': {  // with arguments that have names
                pop();
                const auto argument = pop(), function = pop();
                return call(function, argument);
            }
            case 'b': {
                const auto state = pop();
                last().states.push_back(state);
                return;
            }
            case 'Q':
                return push({.type = Type::persistent, .argument = pop()});
            default:
                wrong(fmt::format("{:#04x} is no code of protocols 2 … 5", static_cast<unsigned char>(code)));
        }
    }

    std::string_view bytes_;
    std::size_t at_ = 0, begin_ = 0;
    Pickle made_;
    std::vector<Number> stack_;
    std::vector<std::size_t> marks_;
    std::unordered_map<std::uint64_t, Number> kept_;
    bool ended_ = false;
};

}  // namespace

Pickle read_pickle(std::string_view bytes) { return Machine(bytes).run(); }

}  // namespace dtk
