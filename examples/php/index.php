<?php

declare(strict_types=1);

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '/';

// For `php -S` only: on a server nginx sends the files.
if (PHP_SAPI === 'cli-server' && $path === '/style.css') {
    return false;
}

if ($path === '/health') {
    header('Content-Type: text/plain; charset=utf-8');
    exit("ok\n");
}

if ($path !== '/' && $path !== '/index.php') {
    http_response_code(404);
    header('Content-Type: text/plain; charset=utf-8');
    exit("there is no such page\n");
}

$name = htmlspecialchars(getenv('PROJECT_NAME') ?: 'PHP');
?>
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title><?= $name ?></title>
<link rel="stylesheet" href="/style.css">
<h1>Hello from <?= $name ?></h1>
<p>PHP <?= PHP_VERSION ?>, process <?= getmypid() ?>, <?= date('H:i:s e') ?>.</p>
</html>
