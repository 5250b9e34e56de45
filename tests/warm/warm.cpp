// A dtk that stands ready: tests start the program hundreds of times, and most of a start is the loading of LibTorch.
// Preloaded into the program, this waits where main would begin, LibTorch loaded. For each command that comes through
// a socket it forks, and the child goes on into main. run_program.hpp is the other end.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

namespace {

using Main = int (*)(int, char**, char**);
Main program_main;

/// The folder to run in, how many variables are set, these and the words of a command, each ended by a NUL, and where
/// standard output and error go.
struct Command {
    std::array<char, 1 << 17> text;
    std::size_t length = 0;
    std::array<int, 2> outputs;
};

bool receive(int socket, Command& command) {
    iovec part{command.text.data(), command.text.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof command.outputs)> control;
    msghdr message{};
    message.msg_iov = &part, message.msg_iovlen = 1;
    message.msg_control = control.data(), message.msg_controllen = control.size();
    const auto got = ::recvmsg(socket, &message, 0);
    if (got <= 0) return false;
    command.length = static_cast<std::size_t>(got);
    std::memcpy(command.outputs.data(), CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof command.outputs);
    return true;
}

int serve_or_run(int argc, char** argv, char** environment) {
    const char* number = std::getenv("DTK_WARM_SOCKET");
    if (!number) return program_main(argc, argv, environment);
    const int socket = std::atoi(number);
    ::unsetenv("DTK_WARM_SOCKET"), ::unsetenv("LD_PRELOAD");
    ::dlopen((std::filesystem::path(argv[0]).parent_path() / "core" / "libdtk.so").c_str(), RTLD_LAZY);
    static Command command;
    while (receive(socket, command)) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::close(socket);
            std::vector<char*> words;
            for (auto* at = command.text.data(); at < command.text.data() + command.length; at += std::strlen(at) + 1)
                words.push_back(at);
            if (::chdir(words[0]) != 0) ::_exit(127);
            const auto variables = words.begin() + 2, command_words = variables + std::atoi(words[1]);
            for (auto at = variables; at < command_words; ++at) ::putenv(*at);
            words.erase(words.begin(), command_words - 1);
            words[0] = argv[0];
            words.push_back(nullptr);
            ::dup2(::open("/dev/null", O_RDONLY), 0);
            ::dup2(command.outputs[0], 1), ::dup2(command.outputs[1], 2);
            ::closefrom(3);
            return program_main(static_cast<int>(words.size()) - 1, words.data(), environ);
        }
        for (const int output : command.outputs) ::close(output);
        ::send(socket, &child, sizeof child, 0);
        int status = 0;
        ::waitpid(child, &status, 0);
        ::send(socket, &status, sizeof status, 0);
    }
    ::_exit(0);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int __libc_start_main(Main main, int argc, char** argv,
                                                                        void (*begin)(), void (*end)(),
                                                                        void (*loader_end)(), void* stack) {
    program_main = main;
    const auto real = reinterpret_cast<decltype(&__libc_start_main)>(::dlsym(RTLD_NEXT, "__libc_start_main"));
    return real(serve_or_run, argc, argv, begin, end, loader_end, stack);
}
