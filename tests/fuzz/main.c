/* libFuzzer's side of tools/fuzz.py: starts Python once, imports the probe that holds the targets, and from then on
 * calls the C function behind FUZZ_TARGET through its __pyx_capi__, without the interpreter.
 *
 * FUZZ_TARGET is MODULE:FUNCTION, e.g. tests.probe.wire_fuzz:fuzz_wire_head; the function is
 * int (const uint8_t *, size_t) and answers 0 or the number of a broken law. */
#include <Python.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*fuzz_target)(const uint8_t *, size_t);

static fuzz_target target;

static void stop(const char *why)
{
    if (PyErr_Occurred())
        PyErr_Print();
    fprintf(stderr, "fuzz: %s\n", why);
    exit(2);
}

static fuzz_target target_find(const char *module, const char *function)
{
    PyObject *imported = PyImport_ImportModule(module);
    PyObject *table = imported ? PyObject_GetAttrString(imported, "__pyx_capi__") : NULL;
    PyObject *capsule = table ? PyDict_GetItemString(table, function) : NULL;
    void *address = capsule ? PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule)) : NULL;
    fuzz_target found = NULL;
    if (!address)
        stop("no such target");
    memcpy(&found, &address, sizeof found);
    return found;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char module[200] = "";
    const char *name = getenv("FUZZ_TARGET"), *colon = name ? strchr(name, ':') : NULL;
    (void)argc;
    (void)argv;
    if (!colon || (size_t)(colon - name) >= sizeof module)
        stop("FUZZ_TARGET must be MODULE:FUNCTION");
    memcpy(module, name, (size_t)(colon - name));
    Py_InitializeEx(0);
    target = target_find(module, colon + 1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int broken = target(data, size);
    if (broken) {
        fprintf(stderr, "fuzz: law %d is broken\n", broken);
        abort();
    }
    return 0;
}
