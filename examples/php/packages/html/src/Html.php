<?php

declare(strict_types=1);

namespace Html;

final class Html
{
    public static function text(string $text): string
    {
        return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE);
    }

    /** @param list<string> $entries */
    public static function list(array $entries): string
    {
        $items = array_map(fn (string $entry): string => '<li>' . self::text($entry) . '</li>', $entries);

        return '<ul>' . implode("\n", $items) . '</ul>';
    }
}
