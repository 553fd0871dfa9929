# shellcheck shell=bash
# What the checks need beside the packages of the bench
PACKAGES+='
b4                      b4
clang-19                clang-19
coccinelle              spatch
codespell               codespell
gcc-aarch64-linux-gnu   aarch64-linux-gnu-gcc
gcc-powerpc64le-linux-gnu powerpc64le-linux-gnu-gcc
gcc-riscv64-linux-gnu   riscv64-linux-gnu-gcc
python3-git             /usr/lib/python3/dist-packages/git/__init__.py
python3-ply             /usr/lib/python3/dist-packages/ply/__init__.py
python3-sphinx          sphinx-build
python3-yaml            /usr/lib/python3/dist-packages/yaml/__init__.py
shellcheck              shellcheck
sparse                  sparse
'
