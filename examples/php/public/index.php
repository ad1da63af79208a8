<?php

declare(strict_types=1);

use Guests\Book;
use Html\Html;

require __DIR__ . '/../vendor/autoload.php';

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '/';
$book = new Book(__DIR__ . '/../var');

if ($path === '/health') {
    header('Content-Type: text/plain; charset=utf-8');
    exit("ok\n");
}

if ($path !== '/') {
    http_response_code(404);
    header('Content-Type: text/plain; charset=utf-8');
    exit("there is no such page\n");
}

if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $book->add((string) ($_POST['name'] ?? ''));
    header('Location: /', true, 303);
    exit;
}

$name = Html::text(getenv('PROJECT_NAME') ?: 'PHP');
?>
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title><?= $name ?></title>
<link rel="stylesheet" href="/style.css">
<h1>Hello from <?= $name ?></h1>
<form method="post"><input name="name" maxlength="80" required> <button>I was here</button></form>
<?= Html::list($book->guests()) ?>
<p>PHP <?= PHP_VERSION ?>, release <?= Html::text(getenv('HOSTKIT_RELEASE') ?: 'of nobody') ?>.</p>
</html>
