#pragma once
#include <memory>
#include <type_traits>

#include <boost/dll/alias.hpp>

#include <dtk/build.hpp>
#include <dtk/error.hpp>
#include <dtk/fields.hpp>
#if defined(DTK_TORCH_BUILD_ID)
#include <torch/headeronly/version.h>
#endif

namespace dtk {

/// What a plugin file says of itself. Its layout, Fields and BuildContext are fixed as long as the section is called
/// dtk2.
struct Descriptor {
    const char* build;
    const char* name;
    const char* summary;
    /// Shows its fields, with their defaults, to whoever reads, checks or describes them → what `create` builds from.
    /// Nothing of what the fields were read from is needed any more.
    std::shared_ptr<void> (*configure)(Fields&);
    /// Builds the plugin, as often as it is asked → the Interface that it was declared with.
    std::shared_ptr<void> (*create)(const void* config, const BuildContext&);
};

namespace detail {
/// A plugin class `T` may have `struct Config` with `void fields(Fields&)`, and is built from (config), (config,
/// context), (context) or nothing.
template <class Interface, class T>
struct Make {
    static std::shared_ptr<void> configure([[maybe_unused]] Fields& fields) {
        if constexpr (requires { typename T::Config; }) {
            auto config = std::make_shared<typename T::Config>();
            config->fields(fields);
            return config;
        } else {
            return nullptr;
        }
    }
    static std::shared_ptr<void> create([[maybe_unused]] const void* configured,
                                        [[maybe_unused]] const BuildContext& context) {
        std::shared_ptr<Interface> made;
        if constexpr (requires { typename T::Config; }) {
            const auto& config = *static_cast<const typename T::Config*>(configured);
            if constexpr (std::is_constructible_v<T, const typename T::Config&, const BuildContext&>)
                made = std::make_shared<T>(config, context);
            else
                made = std::make_shared<T>(config);
        } else if constexpr (std::is_constructible_v<T, const BuildContext&>) {
            made = std::make_shared<T>(context);
        } else {
            made = std::make_shared<T>();
        }
        return made;
    }
};
}  // namespace detail

}  // namespace dtk

#if defined(DTK_TORCH_BUILD_ID)
#define DTK_BUILD_TEXT DTK_TORCH_BUILD_TEXT
#define DTK_BUILD_ID DTK_TORCH_BUILD_ID
#else
#define DTK_BUILD_TEXT DTK_BASE_BUILD_TEXT
#define DTK_BUILD_ID DTK_BASE_BUILD_ID
#endif

#define DTK_JOIN_OF(Interface, name, version, build, tail) dtk_##Interface##_##name##__##version##_##build##tail
#define DTK_JOIN(Interface, name, version, build, tail) DTK_JOIN_OF(Interface, name, version, build, tail)
#define DTK_EXPORT(Interface, name, Type, summary, tail)                                                          \
    static_assert(std::is_base_of_v<::dtk::Interface, Type>, #Type " must derive from dtk::" #Interface);         \
    static constexpr ::dtk::Descriptor dtk_plugin_##name{DTK_BUILD_TEXT, #name, summary,                          \
                                                         &::dtk::detail::Make<::dtk::Interface, Type>::configure, \
                                                         &::dtk::detail::Make<::dtk::Interface, Type>::create};   \
    BOOST_DLL_ALIAS_SECTIONED(dtk_plugin_##name,                                                                  \
                              DTK_JOIN(Interface, name, DTK_##Interface##_VERSION, DTK_BUILD_ID, tail), dtk2)

/// Makes the file a plugin: `DTK_PLUGIN(Schedule, cosine, Cosine, "one line that says what it is")`.
/// Kind, name, interface version and build stand in the name of one exported symbol, so they are read without loading.
#define DTK_PLUGIN(Interface, name, Type, summary) DTK_EXPORT(Interface, name, Type, summary, )

/// The same for the plugin that stands in where an experiment names none of its kind.
#define DTK_DEFAULT_PLUGIN(Interface, name, Type, summary) DTK_EXPORT(Interface, name, Type, summary, _default)
