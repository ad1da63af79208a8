<?php

declare(strict_types=1);

namespace Guests;

/** Lines in a file that outlives a release. */
final class Book
{
    private string $file;

    public function __construct(string $dir)
    {
        is_dir($dir) || mkdir($dir, recursive: true);
        $this->file = "$dir/guests.txt";
    }

    public function add(string $name): void
    {
        $line = mb_substr(trim(preg_replace('/\s+/u', ' ', $name) ?? ''), 0, 80);
        if ($line !== '') {
            file_put_contents($this->file, "$line\n", FILE_APPEND | LOCK_EX);
        }
    }

    /** @return list<string> */
    public function guests(): array
    {
        $lines = is_file($this->file) ? file($this->file, FILE_IGNORE_NEW_LINES) : [];

        return array_slice(array_reverse($lines ?: []), 0, 20);
    }
}
